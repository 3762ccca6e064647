"""What commands show: screens, answers, tables of scores."""
