"""Change points of series, worked out twice: by definition, and by Apache Otava.

    changes.py SERIES.json

SERIES.json is a list of series. Prints a list with one object each: "ours" has the points that the
documented procedure comes to, "otava" has Otava's.
"""

import json
import sys

from otava.analysis import compute_change_points

import procedure


def main(path):
    answers = []
    for series in json.load(open(path)):
        otava, _ = compute_change_points(list(series))
        found = {"ours": procedure.points(series), "otava": [int(point.index) for point in otava]}
        answers.append(found)
    print(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1])
