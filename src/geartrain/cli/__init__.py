"""Commands for people: gearmand, gearman, gearadmin."""
