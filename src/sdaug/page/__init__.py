"""`sdaug page`: a page on this machine to draw on, to browse the images of the study, and to ask its classifiers."""
