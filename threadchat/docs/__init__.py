"""The documentation: topics in Markdown, and how they are shown in a terminal and as web pages."""
