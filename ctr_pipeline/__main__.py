"""``python -m ctr_pipeline`` is ``ctr-pipeline``."""

from ctr_pipeline.cli.main import main

if __name__ == "__main__":
    main()
