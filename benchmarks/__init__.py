"""What payplatform costs, each figure beside a raw floor that is measured in the same run."""
