"""The wing chat/log."""
