"""The strict reader: any well-formed XML, whatever its shape, through lxml."""
