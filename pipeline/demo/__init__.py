"""The demo: a study that shows the whole pipeline in minutes, and the table it ends with."""
