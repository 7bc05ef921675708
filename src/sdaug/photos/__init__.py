"""The stages prepare and teats: from raw photos to checked, squared images with splits and folds."""
