def test_x(family):
    assert family
