"""The page: tables and plots of the result documents, with what a person wrote about them (``notes/``)."""
