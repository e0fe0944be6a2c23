"""Data to figures; no Streamlit here."""
