"""What every stage stands on: files, images, manifests, params, seeds, the device, the log book."""
