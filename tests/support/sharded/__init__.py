"""What the tests of sharded weights run on every rank of a process group, compared with one process."""
