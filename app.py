"""Start with ``streamlit run app.py``; no page depends on what happens here."""

from pages.ui import frame

frame.run()
