"""The parts of the face fit: head pose, expression, gaze and torso over a whole clip."""
