"""A package, so that what is made for all of these tests ends with them: Playwright keeps a loop
running in this thread, in which no other test could run one of its own."""
