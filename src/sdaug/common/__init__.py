"""Code shared by all stages: files, images, manifests, params, seeds, device setup and MLflow logging."""
