"""The figures, each an :class:`~rrnn_ext.reading.exhibit.Exhibit`: a drawing together with the numbers it draws."""
