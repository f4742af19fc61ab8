"""How much people see and hear of explicit media: the settings, what each person chose, the table of their choices."""
