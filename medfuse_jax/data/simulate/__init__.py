"""The simulated MS cohort: seeded anatomy, lesions by plan, atrophy, contrasts, visits, and the truth."""
