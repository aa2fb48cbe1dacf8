"""Sample servers: recipes, and how they are made. Their samples are what the end-to-end tests pack."""
