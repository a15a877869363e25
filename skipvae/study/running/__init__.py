"""The runs of a study: workers, executors and progress."""
