"""``python -m ctr_pipeline.reproduce``: the command ``ctr-pipeline reproduce``."""

import sys

from ctr_pipeline.cli.main import main

if __name__ == "__main__":
    main(["reproduce", *sys.argv[1:]])
