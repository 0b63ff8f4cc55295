"""Many networks side by side, their training under a penalty, and what is kept and measured of each."""
