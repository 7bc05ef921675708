"""Stages `class_images` and `dreambooth`: fine-tuning one generator per rare class."""
