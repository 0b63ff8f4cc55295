"""What is written for a reader: figures, pages, and the runs that end in one."""
