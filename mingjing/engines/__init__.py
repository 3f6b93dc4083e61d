"""The engines of a site, from wheels: started, watched and stopped by us."""
