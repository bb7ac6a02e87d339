"""Results drawn into pictures, and faces hidden."""
