"""Program 3: many sites. Cases, clocks, cards and the pages people work with."""
