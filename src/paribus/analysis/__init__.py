"""Store, or generations from elsewhere, to tables, contrasts and findings. Pure."""
