"""Where steps run: on this machine, in containers, on SageMaker."""
