"""The page and the table people read. Computes no statistic."""
