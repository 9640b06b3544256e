"""Problems: GSM8K, generated word problems, and the draw every arm shares."""
