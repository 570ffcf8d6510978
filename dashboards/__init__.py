"""The growth team's pages, on Streamlit.

launch.py starts the server; app.py is the script of every page view: it finds the published
version (context.py), draws the frame with filters and the data's age (frame.py, filters.py) or a
designed state (states.py), and runs one page of views/. A page asks queries/ for frames, turns
them into numbers (formats.py, definitions.py) and charts (charts/) and places them with
components.py. SQL is in queries/ alone (the warehouse) and deliveries.py (the receiver's
ledger); nothing in an event becomes HTML or Markdown.
"""
