"""The simulated MS cohort: seeded anatomy, lesions by plan, atrophy, several contrasts and visits, and the truth of all of it."""
