"""The whole site on one machine: demo, bench, doctor, verify. Imported by nothing."""
