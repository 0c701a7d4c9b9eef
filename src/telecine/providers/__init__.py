"""Who answers: one file and one class per kind of provider, one line each in `registry`."""
