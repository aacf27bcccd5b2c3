"""The strict reading: any XML that is one, whatever its shape, through lxml."""
