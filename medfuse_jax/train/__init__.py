"""One loop that trains every stage. It knows what a stage is, and knows no stage."""
