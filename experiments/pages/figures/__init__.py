"""The figures, each an :class:`~experiments.figures.exhibit.Exhibit`: a drawing together with the numbers it draws."""
