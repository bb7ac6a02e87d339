"""What every room needs and none owns: errors, files, processors, run folders, contact sheets. Imports nothing of
ours."""
