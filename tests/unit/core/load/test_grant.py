from loadstone_core.load.grant import of_feeder, of_iterations


def test_iterations_and_rows_of_one_name_are_numbered_apart():
    assert of_iterations("a") == "iterations/a"
    assert of_feeder("a") == "feeder/a"
