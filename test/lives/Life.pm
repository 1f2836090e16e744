# One life, drawn from a seed before anything runs: the world it begins with, the weather it has all along, and a plain
# list of steps.  A step names customers, users and SKUs by names that stay, and whatever depends on the course of things
# (which subscription, which approval) by a number that is resolved when the step is played.  So any step can be left
# out, and the others remain what they were.
#
# A step: { n, at (minutes since the start), who (the actor), do, ... , wait (0: the next one follows at once) }
package Life;

use strict;
use warnings;

use Seed;

our $START = '2027-01-04T06:00:00Z';
use constant { NIGHT => 14 * 60, DAY => 1440, HOUR => 60 };    # the first night is 14 hours after the start

our %PRODUCT = (
	SPB => 'CFQ7TTC0LCHC:0002',
	SPE_E3 => 'CFQ7TTC0LFLX:0001',
	O365_BUSINESS_ESSENTIALS => 'CFQ7TTC0LH18:0001',
	EXCHANGEARCHIVE_ADDON => 'CFQ7TTC0P0HP:0001');

# What happens in a life; each life has some of these only, with weights of its own (that finds more than all at once)
my @STORIES = qw(moves freed again weather_asked orders renewal_rush switched_off open_transaction names race limits
  upgrade addon open_manager gone disconnected removals technician crash rain lost_answer many full extended location
  group accepted doubt);

# draw(SEED, days => ..): the life
sub draw
{
	my ($class, $seed, %options) = @_;
	my $r = Seed->new($seed);
	my $self = bless { seed => $seed, r => $r, steps => [], renewals => [], version => 1 }, $class;
	$self->{days} = $options{days} // $r->between(20, 40);
	$self->world;
	$self->climate;
	$self->settings;
	my %weight = map { ($_ => $r->percent(45) ? $r->between(1, 6) : 0) } @STORIES;
	if ($options{only})
	{
		# one of these kinds, which one follows from the seed
		my @only = $options{only} eq 'each' ? @STORIES : split /,/, $options{only};
		my $one = $only[ $seed % @only ];
		%weight = map { ($_ => $_ eq $one ? 1 : 0) } @STORIES;
	}
	$weight{moves} ||= 1 unless $options{only};
	my @weights = map { ($_ => $weight{$_}) } grep { $weight{$_} } @STORIES;
	$self->{stories} = join ' ', map { "$_:$weight{$_}" } grep { $weight{$_} } @STORIES;
	# calm days at the end: what was broken has to mend
	my $last = ($self->{days} - 4) * DAY;
	my $at = $r->between(60, DAY);
	while ($at < $last)
	{
		my $story = $r->weighted(@weights);
		my $method = "story_$story";
		$self->{story} = $story;
		$self->$method($self->moment($at));
		$at += $r->between(120, 2 * DAY);
	}
	$_->{n} = 1 for @{ $self->{steps} };
	my $n = 0;
	my @sorted = sort { $a->{at} <=> $b->{at} || $a->{order} <=> $b->{order} } @{ $self->{steps} };
	@sorted = grep { $_->{at} < $last } @sorted;
	for my $step (@sorted) { $step->{n} = ++$n; delete $step->{order} }
	$self->{steps} = \@sorted;
	delete @{$self}{qw(r story burst)};
	return $self;
}

# ---- the world

sub world
{
	my ($self) = @_;
	my $r = $self->{r};
	my @accounts = map { { name => $_ } } (qw(main second third))[ 0 .. $r->weighted(0 => 5, 1 => 4, 2 => 2) ];
	my @customers;
	for my $i (1 .. $r->between(3, 6))
	{
		my $account = $accounts[ $r->below(scalar @accounts) ]{name};
		my $customer = { name => "C$i", domain => "c$i.example", partners => [$account], subscriptions => [], assigned => {} };
		my $used = $r->weighted(1 => 3, 2 => 3, 3 => 2, 5 => 2, 8 => 2, 12 => 1);
		my $free = $r->weighted(0 => 3, 1 => 3, 2 => 2, 4 => 2, 6 => 1);
		my $sku = 'SPB';
		my $kind = $r->weighted(month => 3, year => 3, fresh => 2, two => 2, legacy => 1, merge => 1, two_accounts => 2, full => 1);
		$kind = 'month' if $kind eq 'two_accounts' && @accounts < 2;
		my $ends = $r->between(1, $self->{days} - 6);
		if ($kind eq 'month') { $self->subscription($customer, $sku, $used + $free, P1M => $r->between(1, 26)) }
		elsif ($kind eq 'year') { $self->subscription($customer, $sku, $used + $free, P1Y => $ends) }
		elsif ($kind eq 'fresh')
		{
			push @{ $customer->{subscriptions} }, { product => $PRODUCT{$sku}, quantity => $used + $free, started_days_ago => $r->between(0, 6),
				term => $r->pick('P1Y', 'P1M'), cycle => 'monthly' };
		}
		elsif ($kind eq 'two')
		{
			$self->subscription($customer, $sku, $used, P1Y => $ends);
			$self->subscription($customer, $sku, $free + 1, P1M => $r->between(1, 26));
		}
		elsif ($kind eq 'legacy')
		{
			push @{ $customer->{subscriptions} }, { offer => 'legacy-SPB', quantity => $used + $free, started_days_ago => 400 };
		}
		elsif ($kind eq 'merge')
		{
			my $first = 1 + int($used / 2);
			push @{ $customer->{subscriptions} }, { offer => 'legacy-SPB', quantity => $first, started_days_ago => 400 };
			push @{ $customer->{subscriptions} }, { offer => 'legacy-SPB', quantity => $used + $free - $first + 1, started_days_ago => 200 };
		}
		elsif ($kind eq 'two_accounts')
		{
			my ($other) = grep { $_ ne $account } map { $_->{name} } @accounts;
			$customer->{partners} = [ $account, $other ];
			$self->subscription($customer, $sku, $used, P1Y => $ends, partner => $account);
			$self->subscription($customer, $sku, $free + 1, P1M => $r->between(1, 26), partner => $other);
		}
		elsif ($kind eq 'full')
		{
			# near the 300 seats that a customer may have of a Business plan
			my $more = 290 - $used - $free;
			$customer->{extra_consumed} = { SPB => $more };
			$self->subscription($customer, $sku, $used + $free + $more, P1Y => $ends);
			$self->subscription($customer, $sku, 5, P1Y => 200);
			$customer->{extra_consumed}{SPB} += 5;
			$customer->{full} = 1;
		}
		$customer->{assigned}{$sku} = $used;
		# a second SKU: its own seats, or none and a rule what to order
		my $second = $r->weighted(none => 3, seats => 2, rule => 3, addon => 1);
		if ($second eq 'seats')
		{
			$self->subscription($customer, 'SPE_E3', $r->between(1, 3), P1M => $r->between(1, 26));
		}
		elsif ($second eq 'addon')
		{
			$self->subscription($customer, 'EXCHANGEARCHIVE_ADDON', 2, P1Y => 100);
		}
		$customer->{second} = $second;
		$customer->{user_count} = $used + 8;
		$customer->{used} = $used;
		push @customers, $customer;
	}
	$self->{customers} = [ map { { name => $_->{name}, users => $_->{user_count}, used => $_->{used}, second => $_->{second}, full => $_->{full} // 0,
		partners => $_->{partners} } } @customers ];
	delete @{$_}{qw(second used full)} for @customers;
	$self->{scenario} = { now => $START, seed => 1 + $r->below(1000), accounts => \@accounts, customers => \@customers };
	return;
}

sub subscription
{
	my ($self, $customer, $sku, $quantity, $term, $ends, %more) = @_;
	push @{ $customer->{subscriptions} }, { product => $PRODUCT{$sku}, quantity => $quantity, term => $term, cycle => 'monthly', ends_in_days => $ends, %more };
	# days are counted from the midnight before the start, which is at 06:00
	my $minute = $ends * DAY - 6 * HOUR;
	my $lived = $self->{days} * DAY;
	for (my $at = $minute; $at < $lived; $at += 31 * DAY)
	{
		push @{ $self->{renewals} }, { customer => $customer->{name}, sku => $sku, at => $at };
		last if $term ne 'P1M';
	}
	return;
}

# What stays as it is all through the life
sub climate
{
	my ($self) = @_;
	my $r = $self->{r};
	# tokens live by the real clock in the worker, which does not jump
	my %o = (requests_per_minute => 0, access_token_seconds => 40_000_000, refresh_token_days => 4000);
	$o{report_delay_consumed} = $r->pick(300, 900, 2400) if $r->percent(35);
	$o{report_delay_active} = $r->pick(300, 900, 2400) if $r->percent(30);
	$o{provisioning_delay} = $r->pick(60, 900, 5400) if $r->percent(40);
	$o{order_delay} = $r->pick(600, 900) if $r->percent(50);
	$o{audit_delay} = $r->pick(600, 3600) if $r->percent(30);
	$o{renewal_hours} = [ 0, $r->pick(2, 20) ] if $r->percent(30);
	$o{credit_order} = $r->pick('newest', 'oldest');
	$o{closed_batches} = $r->pick('listed', 'dropped');
	$o{request_id_memory_seconds} = 0 if $r->percent(20);
	$o{stale_etag_status} = 412 if $r->percent(30);
	$self->{scenario}{options} = \%o;
	return;
}

# What managers have set at the beginning
sub settings
{
	my ($self) = @_;
	my $r = $self->{r};
	my @steps;
	for my $c (@{ $self->{customers} })
	{
		my %set;
		my $mode = $r->weighted(adjust => 7, none => 2, increment => 1);
		$set{auto_license_adjustment} = 'true' if $mode eq 'adjust';
		$set{auto_increment} = 'true' if $mode eq 'increment';
		$set{cooldown} = '0' if $r->percent(30);
		if ($r->percent(50)) { $set{removal_limit_percent} = 100; $set{removal_limit_seats} = 1000 }
		elsif ($r->percent(30)) { $set{removal_limit_percent} = 0; $set{removal_limit_seats} = $r->between(1, 3) }
		if ($r->percent(20)) { $set{purchase_limit_percent} = 0; $set{purchase_limit_seats} = $r->between(1, 2) }
		$set{spare_seats} = 1 if $r->percent(10);
		$set{usage_location} = 'US' if $r->percent(30);
		push @steps, { who => 'manager', do => 'set', c => $c->{name}, set => \%set } if %set;
		push @steps, { who => 'manager', do => 'rule', c => $c->{name}, sku => 'SPE_E3', set => { default_offer => $PRODUCT{SPE_E3} } } if $c->{second} eq 'rule';
		push @steps, { who => 'manager', do => 'rule', c => $c->{name}, sku => 'SPB', set => { max_seats => $c->{used} + $r->between(1, 6) } } if $r->percent(12);
	}
	my $i = 0;
	$_->{n} = 'first' . ++$i for @steps;
	$self->{first} = \@steps;
	return;
}

# ---- words for stories

sub step
{
	my ($self, $at, $who, $do, %more) = @_;
	my $step = { at => int($at), order => scalar @{ $self->{steps} }, who => $who, do => $do, story => $self->{story}, wait => 1, %more };
	push @{ $self->{steps} }, $step;
	$step->{key} = $step->{order};
	return $step;
}

# A moment near AT: often in the hours before a renewal or around a night
sub moment
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $how = $r->weighted(any => 6, night => 2, renewal => 3);
	if ($how eq 'night') { return int($at / DAY) * DAY + NIGHT + $r->pick(-30, -2, 0, 1, 5, 20, 59, 90) }
	if ($how eq 'renewal')
	{
		my ($next) = sort { $a->{at} <=> $b->{at} } grep { $_->{at} > $at + 240 && $_->{at} < $at + 3 * DAY } @{ $self->{renewals} };
		if ($next) { $self->{burst} = $next->{customer}; return $next->{at} - $r->between(1, 239) }
	}
	return $at;
}

sub customer
{
	my ($self, $wants) = @_;
	my $r = $self->{r};
	my @from = @{ $self->{customers} };
	if (my $name = delete $self->{burst}) { my ($c) = grep { $_->{name} eq $name } @from; return $c if !$wants || $wants->($c) }
	@from = grep { $wants->($_) } @from if $wants;
	return @from ? $from[ $r->below(scalar @from) ] : undef;
}

# Users are user01..; the first hold a licence in the beginning
sub user { my ($self, $c, $n) = @_; return sprintf 'user%02d', $n }
sub holder { my ($self, $c) = @_; return $self->user($c, $self->{r}->between(1, $c->{used})) }
sub joiner { my ($self, $c) = @_; return $self->user($c, $c->{used} + $self->{r}->between(1, 8)) }
sub joiners
{
	my ($self, $c, $n) = @_;
	my $from = $self->{r}->below(8);
	return map { $self->user($c, $c->{used} + 1 + ($from + $_) % 8) } 0 .. $n - 1;
}
sub anybody { my ($self, $c) = @_; return $self->{r}->percent(50) ? $self->holder($c) : $self->joiner($c) }
sub sku { my ($self, $c) = @_; return $c->{second} =~ /seats|rule/ && $self->{r}->percent(25) ? 'SPE_E3' : 'SPB' }
sub soon { my ($self, $at) = @_; return $at + $self->{r}->weighted(0 => 3, 1 => 3, 7 => 2, 20 => 2, 65 => 2, 180 => 1, 720 => 2) }

# A fault that lasts
my %BREAKS = (
	carts => { kind => [ 'cart', 'checkout' ] },
	patch => { kind => 'patch_subscription' },
	licences => { kind => 'licenseupdates' },
	skus => { kind => 'subscribedskus' },
	subscriptions => { kind => [ 'subscriptions', 'subscription' ] },
	users => { kind => [ 'user', 'licenses' ] },
	all => {},
	token => { kind => 'token' },
	audit => { kind => 'audit' });

sub fault
{
	my ($self, $at, $for, $what, $c, %rule) = @_;
	my %match = %{ $BREAKS{$what} };
	# what only a change is told is not the answer to a question
	my $told = $rule{action} eq 'stale_etag' || ($rule{status} // 0) == 409;
	%rule = (action => 'status', status => 503) if $told && $what !~ /^(carts|patch|licences)$/ || $rule{action} eq 'stale_etag' && $what ne 'patch' || $what eq 'token';
	return $self->step($at, 'weather', 'fault', what => $what, match => \%match, ($c ? (c => $c->{name}) : ()), rule => \%rule, for => int($for));
}

sub badly
{
	my ($self) = @_;
	my $r = $self->{r};
	my $how = $r->weighted(503 => 5, 500 => 2, 429 => 3, 409 => 1, reset_after => 3, reset_before => 1, 401 => 1, etag => 1, garbage => 1, truncate => 1, renewing => 2);
	return (action => 'status', status => $how + 0) if $how =~ /^50/;
	return (action => 'status', status => 429, retry_after => 1) if $how eq '429';
	return (action => 'status', status => 409, code => 409, description => 'Conflict') if $how eq '409';
	return (action => 'status', status => 401, description => 'Unauthorized') if $how eq '401';
	return (action => 'status', status => 409, code => 900278, description => 'There is a pending operation on this subscription. Try again later.') if $how eq 'renewing';
	return (action => 'stale_etag') if $how eq 'etag';
	return (action => $how);
}

# ---- stories

# Technicians free and use seats, callers ask
sub story_moves
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my $sku = $self->sku($c);
	my $n = $r->between(1, 4);
	if ($r->percent(60)) { $self->step($at, 'technician', 'unassign', c => $c->{name}, pick => $r->below(50), sku => $sku) for 1 .. $n; $at = $self->soon($at) }
	if ($r->percent(40)) { $self->step($at, 'technician', 'assign', c => $c->{name}, u => $self->joiner($c), sku => $sku); $at = $self->soon($at) }
	$self->step($at, 'caller', 'assign', c => $c->{name}, u => $_, sku => $sku) for $self->joiners($c, $r->between(1, 3));
	return;
}

# Our own releases, then somebody else
sub story_freed
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my $sku = 'SPB';
	if ($r->percent(35)) { $self->step($at, 'manager', 'set', c => $c->{name}, set => { purchases => 'false' }, for => $r->between(60, 3 * DAY)) }
	elsif ($r->percent(35)) { $self->step($at, 'manager', 'max_now', c => $c->{name}, sku => $sku, room => 0, for => $r->between(60, 3 * DAY)) }
	my $n = $r->between(1, 3);
	$self->step($at, 'caller', 'release', c => $c->{name}, pick => $r->below(50), sku => $sku) for 1 .. $n;
	$at = $self->soon($at);
	$self->step($at, 'caller', 'assign', c => $c->{name}, u => $_, sku => $sku) for $self->joiners($c, $n);
	return;
}

# One user, to and fro
sub story_again
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my $u = $self->anybody($c);
	my $sku = $self->sku($c);
	$self->fault($at, $r->between(1, 120), $r->pick('patch', 'licences', 'skus', 'users'), $c, $self->badly) if $r->percent(40);
	my $kind = $r->pick('assign', 'release');
	for (1 .. $r->between(2, 4))
	{
		$self->step($at, 'caller', $kind, c => $c->{name}, u => $u, sku => $sku, wait => $r->percent(50), by_id => $r->percent(20));
		$self->step($at, 'caller', 'cancel', pick => $r->below(5), wait => $r->percent(50)) if $r->percent(15);
		$kind = $kind eq 'assign' ? 'release' : 'assign' unless $r->percent(15);
		$at += $r->weighted(0 => 5, 1 => 2, 30 => 1);
	}
	return;
}

# Something fails while a purchase is wanted, and somebody changes his mind meanwhile
sub story_weather_asked
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my $sku = $self->sku($c);
	my $for = $r->weighted(20 => 3, 120 => 3, 720 => 2, 2000 => 2);
	$self->fault($at, $for, $r->pick($sku eq 'SPE_E3' ? ('carts', 'carts', 'patch') : ('patch', 'patch', 'carts'), 'licences', 'skus', 'all'),
		$r->percent(70) ? $c : undef, $self->badly);
	$self->step($at, 'caller', 'assign', c => $c->{name}, u => $_, sku => $sku) for $self->joiners($c, $r->between(1, 4));
	$self->change_of_mind($at + $r->between(1, $for), $c, $sku) for 1 .. $r->between(1, 2);
	return;
}

sub change_of_mind
{
	my ($self, $at, $c, $sku) = @_;
	my $r = $self->{r};
	my $how = $r->weighted(purchases => 3, max => 3, rule => 1, pause => 1, release => 3, cancel => 2, buys => 2, frees => 2, none => 1);
	my @c = (c => $c->{name});
	if ($how eq 'purchases') { $self->step($at, 'manager', 'set', @c, set => { purchases => 'false' }, for => $r->between(60, 4 * DAY)) }
	elsif ($how eq 'max') { $self->step($at, 'manager', 'max_now', @c, sku => $sku, room => 0, for => $r->between(60, 4 * DAY)) }
	elsif ($how eq 'rule') { $self->step($at, 'manager', 'reset_rule', @c, sku => $sku) }
	elsif ($how eq 'pause') { $self->step($at, 'manager', 'pause', @c, for => $r->between(30, 2 * DAY)) }
	elsif ($how eq 'release') { $self->step($at, 'caller', 'release_asked', @c, sku => $sku, pick => $r->below(5)) }
	elsif ($how eq 'cancel') { $self->step($at, 'caller', 'cancel', pick => $r->below(5)) }
	elsif ($how eq 'buys') { $self->step($at, 'technician', 'raise', @c, sku => $sku, pick => $r->below(5), seats => $r->between(1, 3)) }
	elsif ($how eq 'frees') { $self->step($at, 'technician', 'unassign', @c, sku => $sku, pick => $r->below(50)) }
	return;
}

# New orders, one after the other
sub story_orders
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer(sub { $_[0]{second} eq 'rule' }) or return $self->story_moves($at);
	$self->step($at, 'manager', 'max_now', c => $c->{name}, sku => 'SPE_E3', room => $r->between(1, 3)) if $r->percent(50);
	for my $u ($self->joiners($c, $r->between(2, 6)))
	{
		$self->step($at, 'caller', 'assign', c => $c->{name}, u => $u, sku => 'SPE_E3');
		$at += $r->weighted(0 => 3, 1 => 3, 5 => 2, 30 => 1);
	}
	return;
}

# Seats are used in the hours before a renewal
sub story_renewal_rush
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my ($next) = sort { $a->{at} <=> $b->{at} } grep { $_->{at} > $at + 240 } @{ $self->{renewals} };
	$next or return $self->story_moves($at);
	my ($c) = grep { $_->{name} eq $next->{customer} } @{ $self->{customers} };
	for (1 .. $r->between(1, 3))
	{
		my $before = $r->weighted(239 => 2, 180 => 2, 100 => 2, 61 => 1, 40 => 1, 5 => 1, 1 => 1);
		$self->step($next->{at} - $before, 'technician', 'assign', c => $c->{name}, u => $self->joiner($c), sku => $next->{sku});
	}
	return;
}

# A manager takes away what our schedules rest on, and people go on
sub story_switched_off
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my ($next) = sort { $a->{at} <=> $b->{at} } grep { $_->{at} > $at + 2 * DAY } @{ $self->{renewals} };
	$next or return $self->story_moves($at);
	my ($c) = grep { $_->{name} eq $next->{customer} } @{ $self->{customers} };
	my $begin = $next->{at} - $r->between(1 * DAY, 5 * DAY);
	$begin = $at if $begin < $at;
	my $how = $r->weighted(off => 3, excluded => 2, increment => 1, sync => 1, pause => 1);
	my @c = (c => $c->{name});
	my $for = $next->{at} - $begin + 3 * DAY;
	if ($how eq 'off') { $self->step($begin, 'manager', 'set', @c, set => { auto_license_adjustment => 'false' }) }
	elsif ($how eq 'excluded') { $self->step($begin, 'manager', 'rule', @c, sku => $next->{sku}, set => { excluded => 'true' }) }
	elsif ($how eq 'increment') { $self->step($begin, 'manager', 'set', @c, set => { auto_license_adjustment => 'false', auto_increment => 'true' }) }
	elsif ($how eq 'sync') { $self->step($begin, 'manager', 'set', @c, set => { partner_center_sync => 'false' }, for => $for) }
	elsif ($how eq 'pause') { $self->step($begin, 'manager', 'pause', @c, for => $for) }
	$self->step($r->between($begin, $next->{at} - 10), 'technician', 'assign', @c, u => $self->joiner($c), sku => $next->{sku}) for 1 .. $r->between(1, 3);
	return;
}

# A caller leaves a transaction open, or prepared
sub story_open_transaction
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my ($next) = sort { $a->{at} <=> $b->{at} } grep { $_->{at} > $at + DAY } @{ $self->{renewals} };
	my ($c) = $next && $r->percent(60) ? grep { $_->{name} eq $next->{customer} } @{ $self->{customers} } : $self->customer;
	my $sku = $next && $next->{customer} eq $c->{name} ? $next->{sku} : $self->sku($c);
	my $begin = $next && $next->{customer} eq $c->{name} ? $next->{at} - $r->between(600, 4 * DAY) : $at;
	$begin = $at if $begin < $at;
	my $for = $r->weighted(30 => 2, 600 => 2, 5 * DAY() => 4);
	$self->step($begin, 'caller', 'open', c => $c->{name}, u => $self->joiner($c), sku => $sku, kind => $r->pick('idle', 'prepared'),
		what => $r->pick('assign', 'assign', 'release', 'bulk'), ends => $r->pick('commit', 'rollback'), for => $for);
	$self->step($begin + $r->between(1, $for < 5000 ? $for : 5000), 'technician', 'assign', c => $c->{name}, u => $self->joiner($c), sku => $sku) for 1 .. $r->between(1, 3);
	$self->step($begin + $r->between(1, $for), 'caller', 'assign', c => $c->{name}, u => $self->joiner($c), sku => $sku) if $r->percent(50);
	return;
}

# Names: users are renamed, deleted, made again
sub story_names
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my $u = $self->anybody($c);
	my $sku = $self->sku($c);
	my $how = $r->weighted(renamed => 3, again => 3, deleted => 2, new => 1);
	$self->step($at, 'caller', $r->pick('assign', 'release'), c => $c->{name}, u => $u, sku => $sku) if $r->percent(30);
	$self->step($at, 'manager', 'sync', c => $c->{name}) if $r->percent(20);
	if ($how eq 'renamed')
	{
		$self->step($at, 'administrator', 'rename_user', c => $c->{name}, u => $u, to => "$u.old");
		$self->step($at, 'administrator', 'create_user', c => $c->{name}, u => $u);
	}
	elsif ($how eq 'again')
	{
		$self->step($at, 'administrator', 'delete_user', c => $c->{name}, u => $u);
		$self->step($at + $r->between(0, 60), 'administrator', 'create_user', c => $c->{name}, u => $u);
	}
	elsif ($how eq 'deleted') { $self->step($at, 'administrator', 'delete_user', c => $c->{name}, u => $u) }
	else { $u = 'new' . $r->between(1, 9); $self->step($at, 'administrator', 'create_user', c => $c->{name}, u => $u) }
	$at = $self->soon($at) + $r->weighted(70 => 2, 2 * DAY() => 1);
	for (1 .. $r->between(1, 2))
	{
		$self->step($at, 'caller', $r->pick('assign', 'assign', 'release'), c => $c->{name}, u => $u, sku => $sku);
		$at = $self->soon($at);
	}
	return;
}

# Somebody takes a seat while we give it back; and what would show it fails
sub story_race
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	$self->step($at, 'technician', 'raise', c => $c->{name}, sku => 'SPB', pick => 0, seats => $r->between(1, 3)) if $r->percent(70);
	$at += $r->between(30, 120);
	$self->step($at, 'weather', 'race', c => $c->{name}, u => $self->joiner($c), sku => 'SPB', when => $r->pick('before_act', 'then_act'), for => 3 * DAY);
	if ($r->percent(60))
	{
		# from the change on, some time: the later look meets it
		$self->step($at, 'weather', 'after_race', c => $c->{name}, for => $r->between(61, 200), rule => { $r->percent(60)
			  ? (action => 'status', status => 403, code => 900308, description => 'Access denied.') : $self->badly });
	}
	return;
}

# Limits, approvals and what makes them needless
sub story_limits
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my $sku = $self->sku($c);
	$self->step($at, 'manager', 'set', c => $c->{name}, set => { purchase_limit_percent => 0, purchase_limit_seats => $r->between(0, 1) }, for => $r->between(DAY, 6 * DAY));
	for my $u ($self->joiners($c, $r->between(2, 5)))
	{
		$self->step($at, 'caller', 'assign', c => $c->{name}, u => $u, sku => $sku);
		$at += $r->weighted(0 => 2, 10 => 1);
	}
	$at += $r->between(10, DAY);
	my $how = $r->weighted(frees => 3, buys => 2, approve => 3, reject => 2, raise_limit => 2, nothing => 1);
	my @c = (c => $c->{name});
	if ($how eq 'frees') { $self->step($at, 'technician', 'unassign', @c, sku => $sku, pick => $r->below(50)) }
	elsif ($how eq 'buys') { $self->step($at, 'technician', 'raise', @c, sku => $sku, pick => 0, seats => 4) }
	elsif ($how eq 'approve') { $self->step($at, 'manager', 'approve', @c, pick => 0) }
	elsif ($how eq 'reject') { $self->step($at, 'manager', 'reject', @c, pick => 0) }
	elsif ($how eq 'raise_limit') { $self->step($at, 'manager', 'set', @c, set => { purchase_limit_seats => 1000 }) }
	$self->step($at + $r->between(5, 300), 'caller', 'assign', @c, u => $self->joiner($c), sku => $sku) if $r->percent(60);
	return;
}

# One goes, the other comes, in one transaction
sub story_upgrade
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer(sub { $_[0]{second} =~ /seats|rule/ }) or return $self->story_moves($at);
	my $how = $r->weighted(fine => 2, 429 => 2, 409 => 2, 401 => 2, 503 => 1);
	$self->step($at, 'weather', 'fault', what => 'licences', match => { kind => 'licenseupdates' }, c => $c->{name}, for => 60,
		rule => { action => 'status', status => $how + 0, count => $r->between(1, 2), ($how eq '429' ? (retry_after => 1) : ()),
			($how eq '409' ? (code => 409) : ()) }) if $how ne 'fine';
	$self->step($at, 'caller', 'upgrade', c => $c->{name}, pick => $r->below(50), from => 'SPB', to => 'SPE_E3');
	return;
}

# A base and its add-on together
sub story_addon
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer(sub { $_[0]{second} eq 'addon' }) or return $self->story_moves($at);
	$self->step($at, 'technician', 'assign', c => $c->{name}, u => $self->joiner($c), sku => 'SPB') for 1 .. $r->between(0, 2);
	$self->step($at, 'caller', 'both', c => $c->{name}, u => $self->joiner($c), skus => [ $r->pick([ 'SPB', 'EXCHANGEARCHIVE_ADDON' ], [ 'EXCHANGEARCHIVE_ADDON', 'SPB' ])->@* ]);
	return;
}

# Managers leave a transaction open
sub story_open_manager
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my $for = $r->weighted(60 => 3, 600 => 1);
	$self->step($at, 'manager', 'open', c => $c->{name}, what => $r->pick('connect', 'connect', 'nightly', 'set', 'pause', 'disconnect'), kind => 'idle', ends => 'rollback', for => $for);
	for my $other ($c, $self->customer)
	{
		$self->step($at + $r->between(1, $for - 35), 'caller', 'assign', c => $other->{name}, u => $self->joiner($other), sku => 'SPB');
	}
	return;
}

# A customer goes and returns
sub story_gone
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	$self->step($at, 'weather', 'gone', c => $c->{name}, for => $r->between(60, 3 * DAY));
	$self->step($self->soon($at), 'caller', 'assign', c => $c->{name}, u => $self->joiner($c), sku => 'SPB') if $r->percent(40);
	return;
}

sub story_disconnected
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my $for = $r->weighted(60 => 1, 2 * DAY() => 2, 30 * DAY() => 1);
	$self->fault($at, 200, $r->pick('patch', 'licences'), $c, $self->badly) if $r->percent(60);
	$self->step($at, 'caller', 'assign', c => $c->{name}, u => $_, sku => 'SPB', wait => $r->percent(50)) for $self->joiners($c, 2);
	$self->step($at + $r->between(0, 30), 'manager', 'disconnect', account => $c->{partners}[0], for => $for);
	return;
}

# Removals that wait for approval
sub story_removals
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my @c = (c => $c->{name});
	my $night = int(($at - NIGHT) / DAY + 1) * DAY + NIGHT;
	$self->step($at, 'manager', 'set', @c, set => { auto_increment => 'false', removal_limit_percent => 0, removal_limit_seats => $r->between(0, 2), cooldown => '0' });
	$self->step($at, 'manager', 'set', @c, set => { auto_license_adjustment => 'true' });
	$self->step($at, 'technician', 'raise', @c, sku => 'SPB', pick => 0, seats => $r->between(1, 6));
	$at = $night + $r->between(30, 900);
	my $how = $r->weighted(reject => 3, approve => 2, approve_half => 2, nothing => 1);
	$self->step($at, 'technician', 'assign', @c, u => $self->joiner($c), sku => 'SPB') if $r->percent(40);
	if ($how eq 'reject') { $self->step($at, 'manager', 'reject', @c, pick => 0) }
	elsif ($how eq 'approve') { $self->step($at, 'manager', 'approve', @c, pick => $_) for 0, 0, 0 }
	elsif ($how eq 'approve_half') { $self->step($at + $r->between(0, DAY), 'manager', 'approve', @c, pick => $r->below(3)) }
	$at += $r->between(60, DAY);
	$self->step($at, 'technician', 'assign', @c, u => $_, sku => 'SPB') for $self->joiners($c, $r->between(0, 3));
	$self->step($at, 'manager', 'set', @c, set => { removal_limit_percent => 100, removal_limit_seats => 1000 }) if $r->percent(50);
	return;
}

# A technician decides by hand
sub story_technician
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my $sku = $self->sku($c);
	my @a = (c => $c->{name}, sku => $sku, pick => $r->below(5));
	my $how = $r->weighted(raise => 4, lower => 2, schedule => 3, end => 2, no_auto_renew => 2, suspend => 1, buy => 2, auto_renew => 1);
	if ($how eq 'raise' || $how eq 'lower') { $self->step($at, 'technician', $how, @a, seats => $r->between(1, 4)) }
	elsif ($how eq 'schedule') { $self->step($at, 'technician', 'schedule', @a, delta => $r->between(-1, 4)) }
	elsif ($how eq 'buy') { $self->step($at, 'technician', 'buy', @a, seats => $r->between(1, 4), term => $r->pick('P1Y', 'P1M')) }
	else { $self->step($at, 'technician', $how, @a) }
	$self->step($self->soon($at), 'caller', $r->pick('assign', 'assign', 'release'), c => $c->{name}, u => $self->anybody($c), sku => $sku) if $r->percent(70);
	return;
}

# kill -9 of the worker while something is under way
sub story_crash
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	$self->step($at, 'weather', 'slow', c => $c->{name}, ms => $r->pick(50, 150), for => 5);
	$self->step($at, 'caller', $r->pick('assign', 'assign', 'release'), c => $c->{name}, u => $self->anybody($c), sku => $self->sku($c), wait => 0) for 1 .. $r->between(1, 3);
	$self->step($at, 'manager', 'adjust', c => $c->{name}, wait => 0) if $r->percent(30);
	$self->step($at, 'weather', 'kill', after_ms => $r->between(0, 400), what => $r->weighted(worker => 4, restart => 1));
	return;
}

# Bad weather for its own sake
sub story_rain
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $r->percent(60) ? $self->customer : undef;
	$self->fault($at, $r->weighted(10 => 2, 120 => 2, DAY() => 2, 2 * DAY() => 1), $r->pick(sort keys %BREAKS), $c, $self->badly, ($r->percent(40) ? (probability => 0.5) : ()));
	my $d = $c // $self->customer;
	$self->step($self->soon($at), 'caller', $r->pick('assign', 'release'), c => $d->{name}, u => $self->anybody($d), sku => $self->sku($d)) for 1 .. $r->between(0, 3);
	return;
}

sub story_lost_answer
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my $sku = $self->sku($c);
	$self->fault($at, $r->between(1, 600), $r->pick('patch', 'carts', 'licences'), $c, action => 'reset_after', count => $r->between(1, 3));
	$self->step($at, 'technician', 'unassign', c => $c->{name}, sku => $sku, pick => $r->below(50)) if $r->percent(30);
	$self->step($at, 'caller', 'assign', c => $c->{name}, u => $_, sku => $sku, wait => $r->percent(70)) for $self->joiners($c, $r->between(1, 3));
	return;
}

sub story_many
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my $sku = $self->sku($c);
	$self->step($at, 'caller', 'bulk', c => $c->{name}, us => [ $self->joiners($c, $r->between(2, 8)) ], sku => $sku);
	$at = $self->soon($at);
	$self->step($at, 'caller', 'release', c => $c->{name}, u => $_, sku => $sku) for $self->joiners($c, $r->between(1, 4));
	return;
}

# More than the pooled maximum of a Business plan takes
sub story_full
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer(sub { $_[0]{full} }) or return $self->story_many($at);
	$self->step($at, 'caller', 'assign', c => $c->{name}, u => $_, sku => 'SPB', wait => $r->percent(50)) for $self->joiners($c, $r->between(2, 3));
	$self->step($at, 'caller', 'bulk', c => $c->{name}, us => [ $self->joiners($c, 8) ], sku => 'SPB');
	return;
}

# Without auto-renew and without the explicit end a subscription runs on in extended terms
sub story_extended
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my ($next) = sort { $a->{at} <=> $b->{at} } grep { $_->{at} > $at + 300 } @{ $self->{renewals} };
	$next or return $self->story_moves($at);
	my ($c) = grep { $_->{name} eq $next->{customer} } @{ $self->{customers} };
	$self->step($at, 'technician', 'no_auto_renew', c => $c->{name}, sku => $next->{sku}, pick => $_) for 0, 1;
	my $after = $next->{at} + DAY + $r->between(0, DAY);
	$self->step($after, 'caller', 'assign', c => $c->{name}, u => $_, sku => $next->{sku}) for $self->joiners($c, $r->between(1, 6));
	return;
}

sub story_location
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my $u = $self->joiner($c);
	$self->step($at, 'administrator', 'usage_location', c => $c->{name}, u => $u, to => undef);
	$self->step($self->soon($at), 'caller', 'assign', c => $c->{name}, u => $u, sku => $self->sku($c));
	$self->step($self->soon($at) + 5, 'administrator', 'usage_location', c => $c->{name}, u => $u, to => 'DE') if $r->percent(50);
	return;
}

sub story_group
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my $u = $self->joiner($c);
	my $sku = $self->sku($c);
	$self->step($at, 'administrator', 'group', c => $c->{name}, u => $u, sku => $sku);
	$self->step($self->soon($at), 'caller', $r->pick('assign', 'release'), c => $c->{name}, u => $u, sku => $sku);
	return;
}

# Changes that Partner Center accepts now and carries out later
sub story_accepted
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	$self->step($at, 'technician', 'buy', c => $c->{name}, sku => 'SPB', pick => 0, seats => $r->between(1, 2), term => 'P1M') for 1 .. $r->between(0, 4);
	$self->step($at, 'weather', 'fault', what => 'accepted', match => { kind => 'patch_subscription' }, c => $c->{name}, for => $r->between(60, 2 * DAY),
		rule => { action => 'accepted_202', seconds => $r->pick(60, 3600, 40000, 80000) });
	$self->step($at, 'manager', 'set', c => $c->{name}, set => { cooldown => '0', removal_limit_percent => 100, removal_limit_seats => 1000 }) if $r->percent(60);
	$self->step($self->soon($at), 'caller', 'assign', c => $c->{name}, u => $_, sku => 'SPB') for $self->joiners($c, $r->between(0, 3));
	return;
}

# Numbers that contradict each other, for hours or days
sub story_doubt
{
	my ($self, $at) = @_;
	my $r = $self->{r};
	my $c = $self->customer;
	my %set = $r->percent(50) ? (availableUnits => 77) : $r->percent(50) ? (consumedUnits => 0) : (consumedUnits => -1);
	$self->step($at, 'weather', 'fault', what => 'numbers', match => { kind => 'subscribedskus' }, c => $c->{name}, for => $r->weighted(60 => 1, DAY() => 2, 4 * DAY() => 2),
		rule => { action => 'override', where => { 'productSku.skuPartNumber' => 'SPB' }, set => \%set });
	$self->step($self->soon($at), 'caller', 'assign', c => $c->{name}, u => $_, sku => 'SPB') for $self->joiners($c, $r->between(1, 2));
	return;
}

# ---- in words

sub words
{
	my ($step) = @_;
	my %s = %$step;
	my $when = defined $s{at} ? sprintf 'day %d %02d:%02d', int(($s{at} + 360) / DAY), int(($s{at} + 360) % DAY / 60), $s{at} % 60 : 'start';
	delete @s{qw(n at order who do key wait story)};
	my $arguments = join ' ', map { "$_=" . short($s{$_}) } sort keys %s;
	return "$step->{n}. $when $step->{who}: $step->{do} $arguments" . ($step->{wait} // 1 ? '' : ' (the next step follows at once)');
}

sub short
{
	my ($value) = @_;
	return 'null' unless defined $value;
	return '{' . join(',', map { "$_:" . short($value->{$_}) } sort keys %$value) . '}' if ref $value eq 'HASH';
	return '[' . join(',', map { short($_) } @$value) . ']' if ref $value eq 'ARRAY';
	return $value;
}

1;
