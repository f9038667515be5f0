"""The wing chat/delivery."""
