"""The figures of the Overview page: what they show, and how they are drawn as charts or as tables."""
