"""What is learnt of one study is kept here, and chosen for the next."""
