"""Questions asked of any model: what decided, and where."""
