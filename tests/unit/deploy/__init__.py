"""What deployments are made from: checked against schemas, and against the code they run."""
