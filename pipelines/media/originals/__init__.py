"""What the API shows of originals: copies that browsers can play, single frames, what files say about themselves."""
