"""Files of Microsoft Office and Outlook that are no archives of XML: DOC, XLS, PPT, MSG, PST."""
