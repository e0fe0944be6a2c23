.PHONY: fix check test browser benchmarks app models screenshots
UV = uv run

fix:
	$(UV) ruff format .
	$(UV) ruff check --fix .

check:
	$(UV) ruff format --check .
	$(UV) ruff check .
	$(UV) mypy
	$(UV) lint-imports

test:
	$(UV) pytest -n auto

browser:
	$(UV) --group browser pytest -m browser

benchmarks:
	$(UV) pytest -m benchmark_suite tests/benchmarks -s

app:
	$(UV) streamlit run app.py

models:
	$(UV) --group models python sample_models/build.py

screenshots:
	$(UV) --group browser python -m tests.screenshots
